-- Runs busted in the host's own Lua state: accrete lua tests/lua/run_busted.lua [OPTION...] SPEC...
-- luacheck: globals arg
arg = arg or { ... }
arg[0] = arg[0] or "tests/lua/run_busted.lua"
require "busted.runner" { standalone = false }
