#!/bin/bash
# tests: long
exec tests/order/closure.sh --long
