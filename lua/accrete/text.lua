--- Text is UTF-8. Letters are ASCII's and Latin-1's where a function says so; all others pass unchanged.
local C = require("accrete.text.c")
local errors = require("accrete.error")

local M = {}

--- SHA-256 of a string as 64 hex digits.
M.sha256 = C.sha256

--- Bytes as hex digits, and back (nil when they are no hex digits).
M.hex = C.hex
M.unhex = C.unhex

--- Whether s is strict UTF-8; else also the place of the first byte that is not.
function M.is_utf8(s)
  local valid = C.valid_prefix(s)
  if valid == #s then
    return true
  end
  return false, valid + 1
end

local function check_utf8(s)
  local ok, place = M.is_utf8(s)
  if not ok then
    errors.raise("input", "byte %d is not UTF-8", place)
  end
end

local function step(s, at)
  local a, b, c, d = s:byte(at, at + 3)
  if a < 0x80 then
    return 1, a
  elseif a < 0xE0 then
    return 2, (a - 0xC0) * 0x40 + b - 0x80
  elseif a < 0xF0 then
    return 3, ((a - 0xE0) * 0x40 + b - 0x80) * 0x40 + c - 0x80
  end
  return 4, (((a - 0xF0) * 0x40 + b - 0x80) * 0x40 + c - 0x80) * 0x40 + d - 0x80
end

--- for place, code in text.codes(s) do: the code points of s and where each starts. Raises when s is not UTF-8.
function M.codes(s)
  check_utf8(s)
  local next_at = 1
  return function()
    local at = next_at
    if at > #s then
      return nil
    end
    local bytes, code = step(s, at)
    next_at = at + bytes
    return at, code
  end
end

--- Number of code points.
function M.length(s)
  check_utf8(s)
  return select(2, s:gsub("[^\128-\191]", ""))
end

--- The UTF-8 bytes of one code point.
function M.char(code)
  local char, floor = string.char, math.floor
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40)
  elseif code < 0x10000 then
    return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
  end
  return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
    0x80 + code % 0x40)
end

--- Lower case of the letters of ASCII and Latin-1 (A to Z, À to Þ).
function M.lower(s)
  return (s:lower():gsub("\195([\128-\158])", function(letter)
    return letter ~= "\151" and "\195" .. string.char(letter:byte() + 32) or nil -- \195\151 is the sign of times
  end))
end

--- s without blanks at its ends.
function M.trim(s)
  return s:match("^%s*(.-)%s*$")
end

--- The parts of s between separators (plain text): text.split("a,,b", ",") is { "a", "", "b" }.
function M.split(s, separator)
  if separator == "" then
    error("text.split: wanted a separator, got an empty string", 2)
  end
  local parts, from = {}, 1
  while true do
    local first, last = s:find(separator, from, true)
    parts[#parts + 1] = s:sub(from, (first or 0) - 1)
    if not first then
      return parts
    end
    from = last + 1
  end
end

--- The words of s: runs of ASCII letters, digits, bytes beyond ASCII, and apostrophes inside.
function M.words(s)
  local words = {}
  for run in s:gmatch("[%w\128-\255']+") do
    local word = run:gsub("^'+", ""):gsub("'+$", "")
    if word ~= "" then
      words[#words + 1] = word
    end
  end
  return words
end

--- The sentences of s: they end with . ! or ? before a blank or the end, or with an empty line.
function M.sentences(s)
  local sentences = {}
  local marked = s:gsub("\r\n?", "\n"):gsub("\n%s*\n", "\0"):gsub("([.!?]+[\"')%]]*)%s+", "%1\0"):gsub("%z+", "\0")
  for part in (marked .. "\0"):gmatch("(%Z*)%z") do
    local sentence = M.trim(part):gsub("%s+", " ")
    if sentence ~= "" then
      sentences[#sentences + 1] = sentence
    end
  end
  return sentences
end

--- Number of single edits (a byte more, less, other, two neighbours swapped) between two short strings.
M.distance = C.distance

--- The candidate that was most likely meant, or nil when none is near: text.closest("frm", { "from", "to" }).
function M.closest(word, candidates)
  local best, least = nil, math.max(1, math.floor(#word / 3)) + 1
  for _, candidate in ipairs(candidates) do
    local distance = C.distance(word, candidate)
    if distance < least then
      best, least = candidate, distance
    end
  end
  return best
end

return M
