--- Real texts have the numbers of the specification. Prints what the Lua and C side takes.
local host = require("host")
local long = os.getenv("FOLD_LONG") == "1"
host.load()

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local genesis
local function verses(count)
  if not genesis then
    local pipe = io.popen("bible -f 'gen1:1-gen50:26' </dev/null 2>/dev/null | sed 's/^[^ ]* //'")
    genesis = pipe:read("*a")
    pipe:close()
    assert(#genesis > 0, "bible: wanted the program of the package bible-kjv")
  end
  local at = 0
  for _ = 1, count do
    at = genesis:find("\n", at + 1, true)
  end
  return genesis:sub(1, at)
end

local licenses = "/usr/share/common-licenses/"
local cases = {
  { "BSD", read(licenses .. "BSD"), { 10, 122, 187, 2848, 34 }, { ["1,1"] = 31, ["2,1"] = 3 } },
  {
    "Artistic",
    read(licenses .. "Artistic"),
    { 36, 314, 680, 17543, 404 },
    { ["1,1"] = 337, ["2,1"] = 56, ["3,1"] = 6, ["1,1,1"] = 5 },
  },
  { "Genesis, 31 verses", verses(31), { 39, nil, 368, 9338, 513 }, { ["1,1,1"] = 13 } },
  { "Genesis, 50 verses", verses(50), { [5] = 2066 }, { ["1,1,1"] = 248 } },
  { "Genesis, 100 verses", verses(100), { [5] = 11609 }, { ["1,1,1"] = 4224 } },
}
if long then
  table.insert(cases, { "GPL-2", read(licenses .. "GPL-2"), { [5] = 21271 }, {} })
  table.insert(cases, { "Genesis, 200 verses", verses(200), { [5] = 126639 }, {} })
  table.insert(cases, { "Genesis, 200 verses, max_dims 2", verses(200), { [5] = 31558 }, {}, { max_dims = "2" } })
  table.insert(cases, { "Genesis, 200 verses, max_phrase 8", verses(200), { [5] = 126639 }, {}, { max_phrase = "8" } })
end

for _, case in ipairs(cases) do
  host.load(case[5])
  local facts, tally = host.close({ case[2] })
  for i, kind in ipairs({ "sentence", "word", "pair", "phrase", "ortho" }) do
    local wanted = case[3][i]
    assert(not wanted or wanted == facts:count(kind), ("%s: %d of kind %s"):format(case[1], facts:count(kind), kind))
  end
  local dims = {}
  for _, ortho in ipairs(facts.rows.ortho) do
    dims[ortho.dims] = (dims[ortho.dims] or 0) + 1
  end
  for key, value in pairs(case[4]) do
    assert(dims[key] == value, case[1] .. ": dims " .. key)
  end
  local events, seconds = 0, 0
  for _, of in pairs(tally) do
    if type(of) == "table" then
      events, seconds = events + of.events, seconds + of.seconds
    end
  end
  print(("ok: %s: %d orthos, %d events, %.2f s of Lua and C"):format(case[1], facts:count("ortho"), events, seconds))
end
