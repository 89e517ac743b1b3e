--- A reader of JSON for tests that run outside of the host: text -> value. null is a table of its own.
local null = setmetatable({}, { __tostring = function() return "null" end })

local escapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

return function(text)
  local at = 1
  local value

  local function bad() error(("JSON at byte %d: %s"):format(at, text:sub(at, at + 20))) end
  local function skip() at = text:find("[^ \t\r\n]", at) or #text + 1 end
  local function string()
    local out, from = {}, at + 1
    while true do
      local stop = text:find('["\\]', from) or bad()
      out[#out + 1] = text:sub(from, stop - 1)
      if text:sub(stop, stop) == '"' then
        at = stop + 1
        return table.concat(out)
      end
      local c = text:sub(stop + 1, stop + 1)
      if c == "u" then
        out[#out + 1] = ("\\u%s"):format(text:sub(stop + 2, stop + 5))
        from = stop + 6
      else
        out[#out + 1] = escapes[c] or c
        from = stop + 2
      end
    end
  end
  local function list(stop, one)
    local out = {}
    at = at + 1
    skip()
    if text:sub(at, at) == stop then
      at = at + 1
      return out
    end
    while true do
      one(out)
      skip()
      local c = text:sub(at, at)
      at = at + 1
      if c == stop then return out elseif c ~= "," then bad() end
      skip()
    end
  end

  function value()
    skip()
    local c = text:sub(at, at)
    if c == "{" then
      return list("}", function(out)
        local key = string()
        skip()
        at = at + 1
        out[key] = value()
      end)
    elseif c == "[" then
      return list("]", function(out) out[#out + 1] = value() end)
    elseif c == '"' then
      return string()
    end
    local word = text:match("^[%w%.%+%-]+", at) or bad()
    at = at + #word
    if word == "true" or word == "false" then
      return word == "true"
    end
    return word == "null" and null or tonumber(word) or bad()
  end

  return value()
end
