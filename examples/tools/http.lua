--- An HTTP server by itself: accrete lua examples/tools/http.lua [ADDRESS:PORT]
--- Shows answers of text and JSON, parts of a path, parameters, bodies, errors, headers, and requests that wait without
--- being in each other's way. Try:
---
---     curl -i localhost:8080/hello/Anna?times=2
---     curl -i localhost:8080/notes -d '{ "text": "milk" }'
---     curl -i localhost:8080/notes
local http = require("accrete.http")

local notes = {} -- in memory: gone with the server. accrete.db keeps things for good.

http.get("/hello/{name}", function(req)
  local times = tonumber(req.query.times or 1)
  if not times or times < 1 or times > 100 then
    http.error(400, "bad_times", "times: wanted 1..100, got %q", req.query.times)
  end
  return ("hello %s\n"):format(req.parts.name):rep(times) -- a string is text/plain
end)

http.get("/notes", function()
  return http.json(require("accrete.json").array(notes), 200, { ["cache-control"] = "no-store" })
end)

http.post("/notes", function(req)
  local note = req:json() -- what is no JSON is answered by 400
  if type(note) ~= "table" or type(note.text) ~= "string" then
    http.error(422, "bad_note", "wanted { \"text\": ... }")
  end
  notes[#notes + 1] = { id = #notes + 1, text = note.text }
  return 201, notes[#notes], { location = "/notes/" .. #notes } -- status, body, headers
end)

http.get("/notes/{id}", function(req)
  return notes[tonumber(req.parts.id)] or http.error(404, "no_note", "no note %s", req.parts.id)
end)

http.delete("/notes", function()
  notes = {} -- returns nothing: 204
end)

-- Each request is a coroutine: others go on while this one waits.
http.get("/slow", function(req)
  http.sleep(tonumber(req.query.seconds) or 1)
  return "well rested\n"
end)

http.serve {
  listen = arg[1] or "127.0.0.1:8080",
  ready = function(address)
    print("serving at http://" .. address .. " until Ctrl-C")
    io.stdout:flush()
  end,
}
print("served; " .. #notes .. " notes are forgotten")
