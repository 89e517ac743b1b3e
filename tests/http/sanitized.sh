#!/bin/bash
# tests: dev
# The HTTP server once more, built with AddressSanitizer and UndefinedBehaviorSanitizer: no leak and no wrong access behind any
# request, refused, cut or answered.
exec tests/http/server.sh "$@"
