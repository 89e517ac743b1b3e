--- A text is read into sentences as the specification's table says, and bad text is refused.
local host = require("host")
local fold = host.load()

local cases = {
  { "Multiple words.. \n\tTwo sentences! Now,:- three; Four.", "multiple words/two sentences/now three/four" },
  { "1 2 3. a", "a" },
  { "Ge1:1 In", "ge in" },
  { "3.14 is pi", "is pi" },
  { "don't well-known -- x", "dont wellknown x" },
  { " . ! \n", "" },
  { "\226\128\156q\226\128\157 \195\137lan\226\128\148x a\194\160b", "q \195\169lanx ab" },
  { "", "" },
  { "Mr. Smith", "mr/smith" },
  { "a\fb\rc\td\ne", "a b c d e" },
  -- U+00C0 U+00D6 U+00D7 U+00D8 U+00DE U+00DF U+00F7 U+00FF
  {
    "\195\128\195\150\195\151\195\152\195\158\195\159\195\183\195\191",
    "\195\160\195\182\195\184\195\190\195\159\195\191",
  },
  { "now 3 three. now three", "now three/now three" },
  -- Greek is kept as it is, an ideographic comma and a face are dropped
  { "\206\145\206\177 \227\128\129x\227\129\130 \240\159\152\128y \240\160\128\128",
    "\206\145\206\177 x\227\129\130 y \240\160\128\128" },
}
for _, case in ipairs(cases) do
  local got = table.concat(fold.sentences(case[1]), "/")
  assert(got == case[2], ("%q gave %q, wanted %q"):format(case[1], got, case[2]))
end
print(("ok: %d texts are read as specified"):format(#cases))

-- Every code point, against the table written down once more.
local function utf8(c)
  local f, floor = string.char, math.floor
  if c < 0x80 then return f(c) end
  if c < 0x800 then return f(0xc0 + floor(c / 64), 0x80 + c % 64) end
  if c < 0x10000 then return f(0xe0 + floor(c / 4096), 0x80 + floor(c / 64) % 64, 0x80 + c % 64) end
  return f(0xf0 + floor(c / 262144), 0x80 + floor(c / 4096) % 64, 0x80 + floor(c / 64) % 64, 0x80 + c % 64)
end
local function expected(c)
  local function within(a, b) return c >= a and c <= b end
  if c == 0x2e or c == 0x21 or c == 0x3f or c == 0x3b then return "x/y" end
  if c == 0x20 or c == 9 or c == 10 or c == 12 or c == 13 then return "x y" end
  if within(0x61, 0x7a) then return "x" .. utf8(c) .. "y" end
  if within(0x41, 0x5a) or (within(0xc0, 0xde) and c ~= 0xd7) then return "x" .. utf8(c + 32) .. "y" end
  if c < 0xc0 or c == 0xd7 or c == 0xf7 then return "xy" end
  if within(0x2000, 0x2bff) or within(0x3000, 0x303f) or within(0x1f000, 0x1ffff) then return "xy" end
  return "x" .. utf8(c) .. "y"
end
for c = 1, 0x10ffff do
  if c < 0xd800 or c > 0xdfff then
    local got = table.concat(fold.sentences("x" .. utf8(c) .. "y"), "/")
    assert(got == expected(c), ("U+%04X gave %q"):format(c, got))
  end
end
print("ok: every code point does what the table says")

local bad = {
  "a\0b", "\128", "\191", "a\192\128", "\193\191", "\194", "\224\159\191", "\225\128", "\237\160\128",
  "\240\143\191\191", "\244\144\128\128", "\245\128\128\128", "\255", "a.\240\159\152",
}
for _, text in ipairs(bad) do
  assert(not pcall(fold.sentences, text), ("%q was taken"):format(text))
end
print(("ok: %d texts that are not UTF-8 are refused"):format(#bad))
