--- The native side of fold as the lifecycles see it.
--- What is kept here are caches that follow from what was read: no result depends on them.
local ffi = require("ffi")
local native = require("accrete.native")
local settings = require("accrete.settings")

local M = {}

---@param name string
---@return integer? limit nil: no limit
local function limit(name)
  local value = settings[name]
  if value == nil or value == "" then
    return nil
  end
  local number = tonumber(value)
  if not number or number < 2 or number ~= math.floor(number) then
    error(("settings.%s: wanted a whole number of 2 or more, got %q"):format(name, tostring(value)))
  end
  return number
end

M.max_phrase = limit("max_phrase")
M.max_dims = limit("max_dims")

local C = native.load("fold")

--- Sides: where the new layer goes.
M.BEHIND = C.FOLD_BEHIND
M.BEFORE = C.FOLD_BEFORE

local reasons = {
  [C.FOLD_EMEMORY] = "out of memory",
  [C.FOLD_EINPUT] = "not UTF-8 text, or not a block in canonical form",
  [C.FOLD_ELARGE] = ("a block of more than %d axes or %d words"):format(C.FOLD_AXES_MAX, C.FOLD_CELLS_MAX),
}

local function check(result)
  if result < 0 then
    error("fold: " .. (reasons[result] or "failed"), 3)
  end
  return result
end

-- Sentences ---------------------------------------------------------------------------------------

-- One native fold for one mirror of the sentences. Rows of a mirror keep their number, so only new
-- ones are shown to it. Another mirror (a test's, a replay's) gets a fold of its own.
local shown = { rows = nil, fold = nil, words = {} }

local function show(sentences)
  for i = #shown.words + 1, sentences:count() do
    local words = sentences:get(i).words
    check(C.fold_add_sentence(shown.fold, words, #words))
    shown.words[i] = words
  end
end

local function is_shown(sentences)
  local words = shown.words
  if shown.fold == nil or #words > sentences:count() then
    return false
  end
  if rawequal(shown.rows, sentences) then
    return true
  end
  for i = 1, #words do
    if sentences:get(i).words ~= words[i] then
      return false
    end
  end
  return true
end

--- The native fold that has been shown exactly these sentences.
local function fold_of(sentences)
  if not is_shown(sentences) then
    local fold = C.fold_new(M.max_phrase or 0, M.max_dims or 0)
    if fold == nil then
      error("fold: out of memory", 2)
    end
    if shown.fold then
      C.fold_free(ffi.gc(shown.fold, nil)) -- at once: the collector does not see how large it is
    end
    shown.fold, shown.words = ffi.gc(fold, C.fold_free), {}
  end
  shown.rows = sentences
  if #shown.words < sentences:count() then
    show(sentences)
  end
  return shown.fold
end

-- Text --------------------------------------------------------------------------------------------

local splitter
local piece = ffi.new("struct fold_sentence")

--- The sentences of a text, each as its words with one blank between.
---@param text string
---@return string[]
function M.sentences(text)
  splitter = splitter or ffi.gc(C.fold_new(0, 0), C.fold_free)
  local list = {}
  check(C.fold_split(splitter, text, #text))
  while check(C.fold_split_next(splitter, piece)) == 1 do
    list[#list + 1] = ffi.string(piece.words, piece.bytes)
  end
  return list
end

--- The words of a list with single blanks between, and where each starts and ends in it.
---@param list string
---@return string[] words, integer[] starts, integer[] ends
function M.words(list)
  local words, starts, ends = {}, {}, {}
  local start = 1
  repeat
    local blank = list:find(" ", start, true) or #list + 1
    if blank == start then
      error(("wanted words with single blanks between, got %q"):format(list), 2)
    end
    words[#words + 1] = list:sub(start, blank - 1)
    starts[#starts + 1], ends[#ends + 1] = start, blank - 1
    start = blank + 1
  until start > #list + 1
  return words, starts, ends
end

-- Growth ------------------------------------------------------------------------------------------

---@class fold.Blocks one block at a time; there is only one search at a time, so there is only one of these
---@field axes string
---@field words string
---@field dims string
local blocks = {}
local block = ffi.new("struct fold_block")

--- Goes on to the next block; false after the last one.
---@return boolean
function blocks:next()
  if check(C.fold_next(shown.fold, block)) == 0 then
    return false
  end
  self.axes = ffi.string(block.axes, block.axes_bytes)
  self.words = ffi.string(block.words, block.words_bytes)
  self.dims = ffi.string(block.dims, block.dims_bytes)
  return true
end

--- The sentences that hold the lines of the new layer.
---@return table[] rows
function blocks.friends()
  local rows = {}
  for i = 0, block.sentence_count - 1 do
    rows[i + 1] = shown.rows:get(block.sentences[i] + 1)
  end
  return rows
end

--- Blocks of two lines, the given one (a pair or a phrase) being the near or the far one.
---@return fold.Blocks
function M.widen(sentences, words, side)
  check(C.fold_widen(fold_of(sentences), words, #words, side))
  return blocks
end

--- Blocks of one axis more, the given ortho being one of two facing sides along it.
---@return fold.Blocks
function M.up(sentences, ortho, side)
  local axes, words = ortho.axes, ortho.words
  check(C.fold_up(fold_of(sentences), axes, #axes, words, #words, side))
  return blocks
end

--- Blocks of one step more along one axis.
---@return fold.Blocks
function M.over(sentences, ortho, side)
  local axes, words = ortho.axes, ortho.words
  check(C.fold_over(fold_of(sentences), axes, #axes, words, #words, side))
  return blocks
end

--- An ortho with two or more long axes does not go up: what would come of it comes by over. Nor does one
--- that has as many axes as the settings allow.
---@return boolean stays, string? reason
function M.stays_flat(ortho)
  local dims = ortho.dims -- largest first, so one look at the second number tells
  local comma = dims:find(",", 1, true)
  local after = dims:byte(comma + 2)
  if dims:byte(comma + 1) ~= 49 or (after and after ~= 44) then -- "1", then "," or the end
    return true, "two long axes"
  end
  if M.max_dims and (#dims - comma + 1) / 2 + 1 >= M.max_dims then -- behind the comma: 1 or 1,1 or 1,1,1 ...
    return true, "max_dims"
  end
  return false
end

--- Words tried so far, for benches.
function M.tries()
  return shown.fold and tonumber(C.fold_tries(shown.fold)) or 0
end

return M
