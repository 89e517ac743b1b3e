--- YAML by itself: accrete lua examples/tools/yaml.lua
--- Shows settings read and written, what is a text and what a number, aliases, several documents, and what is refused
--- because readers of YAML disagree about it.
local json = require("accrete.json")
local yaml = require("accrete.yaml")

-- Maps are tables by name, lists are lists, null is yaml.null, integers beyond 2^53 are exact.
local settings = yaml.parse([[
# who gets what
post: &post { retries: 3, wait: 1.5 }
offices:
- name: Bonn
  open: [8, 17]
  post: *post
- name: Oslo      # no: a text here, since yes and no are texts
  country: no
  open: []
  note: |
    Closed in July.
    Ring twice.
id: 9007199254740993
spare: ~
]])
print(settings.offices[1].post.wait, settings.offices[2].country, settings.spare == yaml.null, settings.id)

-- An alias is a copy: changing one leaves the other alone.
settings.offices[1].post.retries = 5
print(settings.post.retries)

-- Keys come out sorted; what some reader would take for something else stands in quotes.
settings.version = "1.10"
settings.offices[2].open = yaml.array {}
io.write(yaml.format(settings))
print(json.encode(yaml.parse(yaml.format(settings))) == json.encode(settings))

-- Several documents in one text.
for _, value in ipairs(yaml.parse_all("--- 1\n--- [two]\n")) do
  print(json.encode(value))
end

-- Refused, with line and column: better now than read in another way by the next program.
for _, text in ipairs { "a: 1\na: 2", "mode: 0644", "a: !!binary aGk=", "a: &x { b: 1 }\nc:\n  <<: *x", "a: [1, 2" } do
  print(select(2, pcall(yaml.parse, text)))
end
