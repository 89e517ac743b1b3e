--- pairs and next that compiled code runs rightly. LuaJIT before 27f169c6 (2026-08-18) leaves out members, or ends
--- early, where it compiles its own bytecode for `for k, v in pairs(t)` (ITERN; its issues #827, #1000, #1510): a
--- lifecycle would miss facts, now and then. Loops over another function than its own next do without that bytecode.
--- An element costs 17 ns instead of 4 then. The snapshot of 2022-03 (Debian's libluajit-5.1-2) makes more mistakes, as
--- reading a value after it was overwritten (mended by e1339aed): there, nothing is compiled.
local FIRST_RIGHT = 1787058514 -- when 27f169c6 was made: versions since 2023 end with the time of their last change

local next, type, error = next, type, error
local rolling = tonumber(jit.version:match("2%.1%.(%d%d%d%d%d+)"))
local is_right = rolling ~= nil and rolling >= FIRST_RIGHT
local is_snapshot = rolling == nil and not pcall(require, "table.isempty") -- OpenResty's has it

if not is_right then
  local function check(name, value)
    if type(value) ~= "table" then
      error(("bad argument #1 to '%s' (table expected, got %s)"):format(name, type(value)), 3)
    end
  end

  local function following(list, key)
    return next(list, key)
  end

  local function every(list)
    check("pairs", list)
    return following, list, nil
  end

  local function one(list, key)
    check("next", list)
    return next(list, key)
  end

  _G.pairs, _G.next = every, one
end

return is_snapshot and "snapshot" or is_right and "right" or "replaced"
