# One C string literal a line, for #include inside an initialiser.
s/\\/\\\\/g
s/"/\\"/g
s/^/"/
s/$/\\n"/
