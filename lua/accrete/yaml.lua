--- YAML, one value in one text. Reading follows the core schema of YAML 1.2 and refuses what readers disagree about:
--- repeated keys, tags, merge keys (<<), numbers with a leading zero. yes, no, on and off are texts.
--- Lists, null and integers are those of accrete.json: what one has read the other writes.
local C = require("accrete.yaml.c")
local errors = require("accrete.error")
local json = require("accrete.json")
local text = require("accrete.text")

local M = {}

local DEPTH_MAX = 1000
local KEY_MAX = 1000 -- a longer key stands behind a question mark: readers look for its colon in 1,024 characters

--- Stands for null in what is read and written. The same value as json.null.
M.null = json.null

--- Marks a table as a list, so that it is written as [] even when empty.
M.array = json.array

local function parse(source, most)
  if type(source) ~= "string" then
    errors.raise("input", "yaml: wanted a text, got %s", type(source))
  end
  return C.parse(source, most)
end

--- parse(text) -> value; an empty text is yaml.null. Keys are texts as they stand, so 200 and "200" are one. An alias
--- is a copy of what it names. Raises an accrete.Error with line and column.
function M.parse(source)
  local value = parse(source, 1)[1]
  if value == nil then
    return M.null
  end
  return value
end

--- parse_all(text) -> list of the values of all documents, which --- lines divide.
function M.parse_all(source)
  return parse(source, math.huge)
end

-- Writing

local WORDS = {} -- what some reader takes for something else than a text
for word in ("null true false yes no on off y n"):gmatch("%a+") do
  WORDS[word] = true
end

-- Characters that must not stand in a text as they are: C1 controls, line breaks of Unicode, byte order marks.
local function escape_unicode(quoted)
  return (quoted:gsub("\127", "\\x7f"):gsub("\194([\128-\159])", function(byte)
    return ("\\x%02x"):format(byte:byte())
  end):gsub("\226\128([\168\169])", function(byte)
    return ("\\u20%02x"):format(byte:byte() - 0x80)
  end):gsub("\239\187\191", "\\ufeff"):gsub("\239\191([\190\191])", function(byte)
    return ("\\uff%02x"):format(byte:byte() + 0x40)
  end))
end

local function quote(value)
  return escape_unicode(json.encode(value))
end

--- Whether a text may stand as it is: it begins like a word and has nothing that means something.
local function is_plain(value)
  return value:find("^[%a_/\128-\255][%w_./@+()=;'!?%%,: \128-\255-]*$") and not value:find(": ")
    and not value:find("[: ]$") and not WORDS[value:lower()] and escape_unicode(value) == value
end

--- Whether a text reads well as a block of lines: no control characters, an end that can be told, no blank in front.
local function is_block(value)
  return value:find("\n", 1, true) and not value:find("[%z\1-\9\11-\31]") and not value:find("^[ \n]")
    and not value:find("\n\n$") and escape_unicode(value) == value
end

local function number_text(value)
  if value ~= value then
    return ".nan"
  elseif value == math.huge or value == -math.huge then
    return value > 0 and ".inf" or "-.inf"
  end
  local digits = json.encode(value)
  return digits:find("[.]") and digits or (digits:gsub("e", ".0e")) -- older readers take 1e+300 for a text
end

local function put(out, piece)
  out.size = out.size + 1
  out[out.size] = piece
end

local function put_block(out, value, indent)
  local blanks = (" "):rep(math.max(indent, 2))
  put(out, value:sub(-1) == "\n" and "|" or "|-")
  for line in (value:gsub("\n$", "") .. "\n"):gmatch("([^\n]*)\n") do
    put(out, line == "" and "\n" or "\n" .. blanks .. line)
  end
end

local function put_text(out, value, indent)
  local ok, place = text.is_utf8(value)
  if not ok then
    errors.raise("input", "cannot write a text as YAML: byte %d is not UTF-8", place)
  end
  if is_plain(value) then
    put(out, value)
  elseif is_block(value) then
    put_block(out, value, indent)
  else
    put(out, quote(value))
  end
end

--- Length of a list, or nil and the sorted keys of a map.
local function shape_of(value)
  local keys, members = {}, 0
  for key in pairs(value) do
    members = members + 1
    keys[members] = key
  end
  if json.is_array(value) or #value > 0 then
    if members ~= #value then
      errors.raise("input", "cannot write a table as YAML: a list with holes or named members besides 1..%d; "
        .. "yaml.null fills a hole", #value)
    end
    return members
  end
  for _, key in ipairs(keys) do
    if type(key) ~= "string" then
      errors.raise("input", "cannot write a table as YAML: wanted keys 1..n or texts only, got a %s key", type(key))
    end
  end
  table.sort(keys)
  return nil, keys
end

local function key_text(key)
  if not text.is_utf8(key) then
    errors.raise("input", "cannot write a table as YAML: a key is not UTF-8")
  end
  return is_plain(key) and key or quote(key)
end

local put_value

--- What stands behind a colon: collections with members begin on a line of their own.
local function put_member(out, key, value, indent, depth)
  local name = key_text(key)
  put(out, #name > KEY_MAX and "? " .. name .. "\n" .. (" "):rep(indent) .. ":" or name .. ":")
  if type(value) == "table" and next(value) ~= nil then
    put(out, "\n" .. (" "):rep(indent + 2))
  else
    put(out, " ")
  end
  put_value(out, value, indent + 2, depth)
end

local function put_table(out, value, indent, depth)
  if depth > DEPTH_MAX then
    errors.raise("limit", "cannot write a table as YAML: nested deeper than %d, or within itself", DEPTH_MAX)
  end
  local count, keys = shape_of(value)
  local line = "\n" .. (" "):rep(indent)
  if (count or #keys) == 0 then
    put(out, count and "[]" or "{}")
  end
  for i = 1, count or #keys do
    if i > 1 then
      put(out, line)
    end
    if count then
      put(out, "- ")
      put_value(out, value[i], indent + 2, depth + 1)
    else
      put_member(out, keys[i], value[keys[i]], indent, depth + 1)
    end
  end
end

function put_value(out, value, indent, depth)
  local kind = type(value)
  if kind == "table" then
    put_table(out, value, indent, depth)
  elseif kind == "string" then
    put_text(out, value, indent)
  elseif kind == "number" then
    put(out, number_text(value))
  elseif value == nil or value == M.null then
    put(out, "null")
  elseif kind == "boolean" or kind == "cdata" then
    put(out, json.encode(value))
  else
    errors.raise("input", "cannot write a %s as YAML", kind)
  end
end

--- format(value) -> text with a newline at its end: two blanks a level, keys sorted, texts in quotes where some reader
--- would take them for something else, lines of text as a block.
function M.format(value)
  local out = { size = 0 }
  put_value(out, value, 0, 1)
  put(out, "\n")
  return table.concat(out)
end

return M
