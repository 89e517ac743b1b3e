-- For wrk: single facts of about 200 bytes, each a new one. Its argument makes them differ from those of other runs.
local seed, number = "0", 0
local body = '{"at":%s%08d,"source":"sensor-%d","name":"temperature.%08x","weight":%.6f,"note":"a text that makes this one '
  .. 'about two hundred bytes long, %d, as those of real sensors are, more or less, and then some"}'

function init(args)
  seed = args[1] or "0"
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
end

function request()
  number = number + 1
  return wrk.format(nil, nil, nil, body:format(seed, number, number % 1000, number, number * 0.37, number))
end
