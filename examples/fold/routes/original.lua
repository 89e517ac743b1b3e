--- The interface of polyvinyl-acetate, the program that fold is modelled on: texts in by POST /add, answers as plain
--- text. Not offered: GET / (here it leads to the pages) and DELETE / (a fact is for ever; accrete reset begins anew).
local http = require("accrete.http")
local ortho = require("ortho")
local sha256 = require("accrete.text").sha256

--- A title may be used once, as in the original. The host itself would keep both books, since they differ; so what
--- decides is a fact whose title alone makes it unique. Of all who add one at once, in any number of processes, one is
--- told that it is new, and the others that it is known or that it contradicts.
http.post("/add", function(req, db)
  local book = req:json()
  if type(book) ~= "table" or type(book.title) ~= "string" or type(book.body) ~= "string" then
    http.error(409, "bad_book", "wanted { \"title\": ..., \"body\": ... }")
  elseif #book.title == 0 or #book.title > 256 then
    http.error(409, "bad_title", "wanted a title of 1..256 characters, got %d bytes", #book.title)
  end
  local function refuse()
    http.error(409, "title_taken", "the title %q is taken", book.title)
  end
  if db.book:where({ title = book.title }, { limit = 1 }):count() > 0 then -- by a file, say
    refuse()
  end
  local ok, err = pcall(db.taken.insert, db.taken, { title = book.title, digest = sha256(book.body) })
  if not ok and err.status ~= 409 then
    error(err, 0)
  elseif not ok then -- for another text
    refuse()
  end
  -- Known, and no such book: who has taken the title did not come as far as this, or is no further.
  if db.book:insert { title = book.title, body = book.body } == "repeat" then
    refuse()
  end
  return book.title
end)

local function count_of(kind)
  return function(_, db)
    return tostring(db[kind]:count())
  end
end

http.get("/sentences", count_of("sentence"))
http.get("/pairs", count_of("pair"))
http.get("/phrases", count_of("phrase"))

--- "1, 2" as "2,1"; "" when none are given, which no ortho has.
local function dims_of(req)
  local given = req.query.dims or ""
  if given:find("[^%d, ]") then
    http.error(500, "bad_dims", "wanted dims like 2,1, got %q", given)
  end
  return ortho.dims(given)
end

http.get("/orthos", function(req, db)
  return tostring(db.ortho:count { dims = dims_of(req) })
end)

--- Every ortho of these dims as all its lines along all its axes, a blank line between orthos.
http.get("/splat", function(req, db)
  local out = {}
  for i, one in db.ortho:where({ dims = dims_of(req) }):each() do
    out[i] = table.concat(ortho.lines(one), "\n") .. "\n"
  end
  return table.concat(out, "\n")
end)

local UNDONE = [[
  SELECT (SELECT coalesce(sum(p.n), 0) FROM packet p JOIN lifecycle l ON l.id = p.lifecycle AND l.active)::int8
       + (SELECT count(*) FROM parked WHERE state IN ('delayed', 'queued'))::int8
       + (SELECT count(*) FROM replay r JOIN lifecycle l ON l.id = r.lifecycle AND l.active)::int8]]

--- Events that are not done. The original had two places where one could wait, and a pause between them in which it
--- was in neither; here a fact is committed with its events, and an event goes when its finds are committed.
--- GET /wait, the host's own, answers when this is 0.
http.get("/count", function(_, db)
  return tostring(db:value(UNDONE))
end)

--- Those of them that stand in the queue's packets; so 0 with /count 0 says the same as /count 0 alone.
http.get("/depth", function(_, db)
  return tostring(db:value("SELECT coalesce(sum(n), 0)::int8 FROM packet"))
end)

local PAGE = 10000 -- orthos; each page is a pass over all of them
local LINES = ([[
  SELECT dims, axes, words FROM (
    SELECT dims, axes, words, (dims || E'\t' || axes || E'\t' || words) COLLATE "C" AS line FROM fact_ortho) AS o
  WHERE line > $1 ORDER BY line LIMIT %d]]):format(PAGE)

--- The canonical dump, page by page, however long it is.
http.get("/dump", function(_, db)
  return http.stream(function(write)
    local last = ""
    repeat
      local lines = {}
      for i, row in ipairs(db:query(LINES, last)) do
        lines[i] = ortho.line(row)
      end
      write(ortho.dump(lines))
      last = lines[#lines]
    until #lines < PAGE
  end)
end)
