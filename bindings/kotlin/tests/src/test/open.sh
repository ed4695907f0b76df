#!/bin/sh
# The browser of the tests: hands the URL to whoever plays the user.
exec printf '%s\n' "$1" >"$GATEPASS_TEST_PIPE"
