/* api_resources.h -- the rows each resource brings to the route table (route_table.c). */
#pragma once

#include "api/route.h"

extern const struct route api_targets_routes[]; /* channels: list, one, change, order, run */
extern const size_t api_targets_route_count;
extern const struct route api_target_edit_routes[]; /* channels: create, change, delete, order, key */
extern const size_t api_target_edit_route_count;
extern const struct route api_models_routes[]; /* the model picker of a channel */
extern const size_t api_models_route_count;
extern const struct route api_runs_routes[]; /* runs, log rows and their export */
extern const size_t api_runs_route_count;
extern const struct route api_dashboard_routes[];
extern const size_t api_dashboard_route_count;
extern const struct route api_bulk_routes[]; /* many channels at once: paste, act, export, import */
extern const size_t api_bulk_route_count;
extern const struct route api_export_routes[]; /* all channels as a document */
extern const size_t api_export_route_count;
extern const struct route api_admin_routes[];
extern const size_t api_admin_route_count;
extern const struct route api_system_routes[];
extern const size_t api_system_route_count;
extern const struct route api_settings_routes[];
extern const size_t api_settings_route_count;
extern const struct route api_keys_routes[];
extern const size_t api_keys_route_count;
