/* route_table.c -- the resources whose rows make the route table. */
#include "api/api_resources.h"

/* Another file's count is no constant here, so each group points at it. */
const struct route_group route_groups[] = {
    {api_system_routes, &api_system_route_count},
    {api_dashboard_routes, &api_dashboard_route_count},
    {api_targets_routes, &api_targets_route_count},
    {api_target_edit_routes, &api_target_edit_route_count},
    {api_models_routes, &api_models_route_count},
    {api_runs_routes, &api_runs_route_count},
    {api_bulk_routes, &api_bulk_route_count},
    {api_export_routes, &api_export_route_count},
    {api_admin_routes, &api_admin_route_count},
    {api_settings_routes, &api_settings_route_count},
    {api_keys_routes, &api_keys_route_count},
};
const size_t route_group_count = ARRAY_LEN(route_groups);
