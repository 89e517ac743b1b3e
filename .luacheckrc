std = "luajit"
max_line_length = 120
files["tests/lua"] = { std = "luajit+busted" }
files["tests/**/*_spec.lua"] = { std = "luajit+busted" }
-- Templates of generated code read better on one line.
files["host/script/driver_*.lua"] = { max_line_length = 190 }
files["bench"] = { max_line_length = 170 }
files["bench/http_post.lua"] = { globals = { "wrk", "init", "request" } }
