-- expect: 200 header.content-length="3000000"
-- More lines and more bytes than one packet, and then a long answer.
for i = 1, 300 do log.info(("y"):rep(200), { i = i }) end
return ("z"):rep(3000000)
