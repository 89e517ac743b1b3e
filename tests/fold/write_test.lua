--- How an ortho is written: the dump, and drawn as a block of words.
require("host") -- sets the path
local ortho = require("ortho")

local text = ortho.dump({ "2,1\tb:2,c:1\ta c b d e f", "1,1\tb:1,c:1\ta c b d", "1,1\t\195\169:1,z:1\ta z \195\169 d" })
assert(text == "1,1\tb:1,c:1\ta c b d\n1,1\t\195\169:1,z:1\ta z \195\169 d\n2,1\tb:2,c:1\ta c b d e f\n")
assert(ortho.dump({}) == "")
assert(ortho.line({ dims = "1,1", axes = "b:1,c:1", words = "a c b d" }) == "1,1\tb:1,c:1\ta c b d")
print("ok: the dump is sorted by bytes and each line has an end")

local drawn = ortho.draw({ axes = "b:2,c:1", words = "a c b d e f" })
assert(drawn == "    a  b  e\n    c  d  f\n", drawn)
drawn = ortho.draw({ axes = "of:1,the:1", words = "and the of tr\195\169sor" })
assert(drawn == "    and  the\n    of   tr\195\169sor\n" or drawn == "    and  of\n    the  tr\195\169sor\n", drawn)
drawn = ortho.draw({ axes = "b:1,c:1,e:1", words = "a e c g b f d h" })
assert(drawn == "e 0\n    a  b\n    c  d\ne 1\n    e  f\n    g  h\n", drawn)
drawn = ortho.draw({ axes = "b:1,c:1,e:1,i:1", words = "a i e j c k g l b m f n d o h p" })
assert(drawn:find("^e 0, i 0\n    a  b\n    c  d\ne 0, i 1\n    i  m\n"), drawn)
print("ok: blocks are drawn")

assert(ortho.dims(" 1, 2,10") == "10,2,1" and ortho.dims("1,1") == "1,1" and ortho.size("2,1,1") == 12)
print("ok: dims are put in order")
