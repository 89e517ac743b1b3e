-- For wrk: single facts of about 200 bytes, each a new one. Its argument makes them differ from those of other runs.
local seed, number = "0", 0

function init(args) -- luacheck: ignore 131
  seed = args[1] or "0"
  wrk.method = "POST" -- luacheck: ignore 112 113
  wrk.headers["Content-Type"] = "application/json" -- luacheck: ignore 113
end

function request() -- luacheck: ignore 131
  number = number + 1
  return wrk.format(nil, nil, nil, ('{"at":%s%08d,"source":"sensor-%d","name":"temperature.%08x","weight":%.6f,"note":"a text that makes this one about two hundred bytes long, %d, as those of real sensors are, more or less, and then some"}') -- luacheck: ignore 113
    :format(seed, number, number % 1000, number, number * 0.37, number))
end
