--- Whatever bytes a caller passes, the native side answers with a number. Run under ASan and UBSan by `run`.
local host = require("host")
host.load()
local ffi = require("ffi")
local C = require("accrete.native").load("fold")

local long = os.getenv("FOLD_LONG") == "1"
local seed = tonumber(os.getenv("FOLD_SEED") or 1)
math.randomseed(seed)

local function bytes(most)
  local list = {}
  for i = 1, math.random(0, most) do
    list[i] = string.char(math.random(0, 255))
  end
  return table.concat(list)
end

local alphabet = { "a", "b", "c", "d", "e", " ", " ", " ", ":", ",", "1", "2", "0", "9", "-", "\0", "\255" }
local function near(most) -- almost well formed
  local list = {}
  for i = 1, math.random(0, most) do
    list[i] = alphabet[math.random(math.random() < 0.9 and 12 or #alphabet)]
  end
  return table.concat(list)
end

local function words(count)
  local list = {}
  for i = 1, count do
    list[i] = alphabet[math.random(5)]
  end
  return table.concat(list, " ")
end

local function some()
  local kind = math.random(4)
  return kind == 1 and bytes(12) or kind == 2 and near(12) or words(kind == 3 and math.random(6) or 4 * math.random(2))
end

--- Axes that fit the words, more often than not.
local function block()
  local sizes = ({ { 2, 2 }, { 3, 2 }, { 2, 2, 2 }, { 3, 3 }, { 1, 4 } })[math.random(5)]
  local count, axes, list = 1, {}, {}
  for _, size in ipairs(sizes) do
    count = count * size
  end
  for i = 1, count do
    list[i] = alphabet[math.random(5)]
  end
  local stride = count
  for i, size in ipairs(sizes) do
    stride = stride / size
    axes[i] = (list[1 + stride] or "a") .. ":" .. size - 1
  end
  return table.concat(axes, ","), table.concat(list, " ")
end

local calls, found = 0, 0
local out = ffi.new("struct fold_block")
local piece = ffi.new("struct fold_sentence")
for _ = 1, long and 3000 or 300 do
  local fold = ffi.gc(C.fold_new(math.random(-1, 4), math.random(-1, 4)), C.fold_free)
  for _ = 1, 100 do
    local what, side = math.random(8), math.random(30) == 1 and math.random(-5, 5) or math.random(0, 1)
    local result
    if what <= 2 then
      local s = math.random(3) > 1 and words(math.random(5)) or some()
      result = C.fold_add_sentence(fold, s, #s)
    elseif what == 3 then
      local s = some()
      result = C.fold_widen(fold, s, #s, side)
    elseif what <= 5 then
      local axes, list = block()
      if math.random(5) == 1 then
        axes = some()
      elseif math.random(5) == 1 then
        list = some()
      end
      result = (what == 4 and C.fold_up or C.fold_over)(fold, axes, #axes, list, #list, side)
    elseif what == 6 then
      local text = bytes(40)
      result = C.fold_split(fold, text, #text)
      while result >= 0 do
        result = C.fold_split_next(fold, piece)
        if result == 0 then
          break
        end
      end
    else
      result = 0
      for _ = 1, math.random(20) do
        result = C.fold_next(fold, out)
        if result == 1 then
          found = found + 1
          assert(#ffi.string(out.words, out.words_bytes) >= 7 and out.sentence_count >= 1)
        end
      end
    end
    assert(result >= -3)
    calls = calls + 1
  end
end
assert(found > 100, "too few blocks were found to say anything")

-- Limits.
local fold = ffi.gc(C.fold_new(0, 0), C.fold_free)
local function refuses(result, axes, list)
  assert(C.fold_up(fold, axes, #axes, list, #list, 0) == result, axes)
  assert(C.fold_over(fold, axes, #axes, list, #list, 1) == result, axes)
end
refuses(C.FOLD_ELARGE, ("a:1,"):rep(13), "a")
refuses(C.FOLD_ELARGE, "a:1048575,b:1", "a")
refuses(C.FOLD_ELARGE, "a:99999999999999999999,b:1", "a")
refuses(C.FOLD_EINPUT, "a:0,b:1", "a b")
refuses(C.FOLD_EINPUT, "a:1", "a b")
refuses(C.FOLD_EINPUT, "", "")
refuses(C.FOLD_EINPUT, "a:1,b:1", "x b a  d")
refuses(C.FOLD_EINPUT, "a:1,b:1", "x b a d ")
refuses(0, "a:1,b:1", "x b a d") -- words of no sentence
assert(C.fold_add_sentence(fold, "x b d", 5) == 0 and C.fold_add_sentence(fold, "x a d", 5) == 1)
refuses(0, "a:1,b:1", "x b a d")
refuses(C.FOLD_EINPUT, "b:1,b:1", "x b a d")
for number, sentence in ipairs({ "", " ", "x  c d", " x c d", "x c d ", "\0", "x" }) do -- no runs, but a number
  assert(C.fold_add_sentence(fold, sentence, #sentence) == number + 1)
end
refuses(0, "a:1,b:1", "x b a d")
print(("ok: %d calls with any bytes gave a number, and %d blocks (seed %d)"):format(calls, found, seed))
