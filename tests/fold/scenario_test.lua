--- The scenarios of the specification, in every order of their books and with all sentences in one book.
local host = require("host")
local texts = require("texts")
host.load()

local function permutations(list, visit, k)
  k = k or 1
  if k > #list then
    return visit({ unpack(list) })
  end
  for i = k, #list do
    list[k], list[i] = list[i], list[k]
    permutations(list, visit, k + 1)
    list[k], list[i] = list[i], list[k]
  end
end

local function expect(scenario, books)
  local name, _, counts, dims, digest = unpack(scenario, 1, 5)
  local facts = host.close(books)
  for i, kind in ipairs({ "sentence", "word", "pair", "phrase" }) do
    assert(not counts[i] or counts[i] == facts:count(kind), name .. ": number of kind " .. kind)
  end
  local got = {}
  for _, ortho in ipairs(facts.rows.ortho) do
    got[ortho.dims] = (got[ortho.dims] or 0) + 1
  end
  for _, pair in ipairs({ { got, dims }, { dims, got } }) do
    for key, value in pairs(pair[1]) do
      assert(pair[2][key] == value, name .. ": number of orthos of dims " .. key)
    end
  end
  local dump = host.dump(facts)
  assert(not digest or host.digest(dump):sub(1, #digest) == digest, name .. ": digest")
end

local runs = 0
for _, scenario in ipairs(texts.scenarios) do
  permutations(scenario[2], function(books)
    expect(scenario, books)
    runs = runs + 1
  end)
  expect(scenario, { table.concat(scenario[2], ". ") })
end
print(("ok: %d scenarios in %d orders of their books, and each in one book"):format(#texts.scenarios, runs))

-- The worked example, to the letter.
local dump = host.dump(host.close(texts.scenarios[6][2]))
assert(dump == "1,1\tb:1,c:1\ta c b d\n1,1\td:1,e:1\tb e d f\n2,1\tb:2,c:1\ta c b d e f\n", dump)
print("ok: the worked example's dump")
