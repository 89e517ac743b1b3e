--- Each lifecycle does what its own examples say.
local host = require("host")
host.load()

local function key(name, values) return name .. "(" .. table.concat(values, ", ") .. ")" end

local count = 0
for _, lifecycle in ipairs(host.lifecycles) do
  for name, example in pairs(lifecycle.examples) do
    local facts, wanted, got = host.facts(), {}, {}
    for _, sentence in ipairs(example.friends[1] or {}) do
      facts:commit(host.kinds.sentence, { sentence.words })
    end
    host.run(lifecycle, example.data, facts:view(), function(kind, values)
      got[key(kind.name, values)] = true
    end)
    for kind, list in pairs(example.found) do
      for _, values in ipairs(list) do
        wanted[key(kind, values)] = true
      end
    end
    for _, way in ipairs({ { got, wanted, "found too much: " }, { wanted, got, "not found: " } }) do
      for find in pairs(way[1]) do
        assert(way[2][find], ("%s, %s: %s%s"):format(lifecycle.name, name, way[3], find))
      end
    end
    count = count + 1
  end
end
print(("ok: %d examples of %d lifecycles"):format(count, #host.lifecycles))
