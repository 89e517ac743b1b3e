--- Errors of accrete: tables { code, sqlstate, message, where }; tostring() gives "file:line: message".
--- code: "input" "conflict" "stale" "lost" "database" "lua" "limit" "system".
local C = require("accrete.error.c")

local M = {}

--- Whether value is an accrete.Error, as pcall returns it.
M.is = C.is

--- Raises an accrete.Error that names the caller's line.
function M.raise(code, message, ...)
  if select("#", ...) > 0 then
    message = message:format(...)
  end
  return C.raise(code, message)
end

return M
