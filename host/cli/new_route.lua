--- Served by accrete run at /ROUTE, beside the host's own paths. A handler gets the request and db, whose look-ups wait
--- without stopping other requests; it returns a text, a table (JSON), or status, body and headers. After a change:
--- accrete check, then accrete reload.
local http = require("accrete.http")
local text = require("accrete.text")

--- curl localhost:7171/ROUTE?limit=10: how many facts there are, and a page of them.
http.get("/ROUTE", function(req, db)
  local limit = tonumber(req.query.limit or 25)
  if not limit or limit < 1 or limit > 1000 or limit % 1 ~= 0 then
    http.error(400, "bad_limit", "limit: wanted 1..1000, got %q", req.query.limit)
  end
  local page = db.KIND:where({}, { limit = limit, after = req.query.after })
  return { count = db.KIND:count(), page = page, after = #page == limit and text.hex(page[#page]._id) or nil }
end)

http.get("/ROUTE/{id}", function(req, db)
  return db.KIND:get(req.parts.id) or http.error(404, "not_found", "no KIND %s", req.parts.id)
end)

--- One fact as a JSON object of its fields: answered when it is on disk, "new" or "repeat".
http.post("/ROUTE", function(req, db)
  return { fact = db.KIND:insert(req:json()) }
end)
