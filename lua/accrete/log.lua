--- Log lines in the host's form: log.info("mail sent", { to = "anna", wait_ms = 12 }).
--- A field `at` names the part of the program, "lua" without it. Never log a secret.
local C = require("accrete.log.c")

local M = {}

local function value_text(value)
  if type(value) == "number" or type(value) == "boolean" then
    return tostring(value)
  end
  local text = tostring(value)
  return text:find("^[%w_./:+%-]+$") and text or C.quote(text)
end

local function pairs_text(words, fields)
  local keys, parts = {}, { "text=" .. C.quote(words) }
  for key in pairs(fields) do
    if type(key) ~= "string" or not key:find("^[%a_][%w_.]*$") then
      error("log: wanted field names of letters, digits and _, got " .. tostring(key), 4)
    end
    if key ~= "at" then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    parts[#parts + 1] = key .. "=" .. value_text(fields[key])
  end
  return table.concat(parts, " ")
end

local function write(level, words, fields)
  if type(words) ~= "string" then
    error("log: wanted words, got " .. type(words), 3)
  end
  if C.enabled(level) then
    fields = fields or {}
    C.write(level, tostring(fields.at or "lua"), pairs_text(words, fields))
  end
end

--- A person must act.
function M.error(words, fields)
  write("error", words, fields)
end

--- Something is odd and went on.
function M.warn(words, fields)
  write("warn", words, fields)
end

function M.info(words, fields)
  write("info", words, fields)
end

function M.debug(words, fields)
  write("debug", words, fields)
end

--- Whether lines of this level are written: worth asking before costly fields are made.
M.enabled = C.enabled

return M
