--- Two result files side by side. A value alone says little on another day; the ratio to the peer of the same run does.
local json = require("accrete.json")

local function read(path)
  local by_name, names = {}, {}
  for line in assert(io.open(path)):lines() do
    local result = json.decode(line)
    if not by_name[result.name] then
      names[#names + 1] = result.name
    end
    by_name[result.name] = result
  end
  return by_name, names
end

local before, names = read(arg[1])
local after = read(arg[2])

local function change(old, new)
  return old and new and old ~= 0 and ("%+.0f %%"):format((new / old - 1) * 100) or ""
end

local function text(value)
  return value and ("%.6g"):format(value) or "-"
end

print(("%-12s %-10s %12s %12s %8s %10s %10s %8s"):format("bench", "unit", "before", "after", "", "ratio", "ratio", ""))
for _, name in ipairs(names) do
  local old, new = before[name], after[name]
  if not new then
    print(("%-12s is not in %s"):format(name, arg[2]))
  else
    print(("%-12s %-10s %12s %12s %8s %10s %10s %8s"):format(name, new.unit, text(old.value), text(new.value),
      change(old.value, new.value), text(old.ratio), text(new.ratio), change(old.ratio, new.ratio)))
    for _, key in ipairs({ "cores", "workers", "postgresql", "shared_buffers" }) do
      if old.conditions and new.conditions and old.conditions[key] ~= new.conditions[key] then
        print(("%12s %s was %s, is %s"):format("", key, tostring(old.conditions[key]), tostring(new.conditions[key])))
      end
    end
  end
end
