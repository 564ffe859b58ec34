-- expect: 200
-- again: different
-- Children of one forker share what they were forked with, except for this.
return math.random(0) .. " " .. math.random()
