#!/bin/bash
# tests: long
exec tests/faults/kills.sh --long
