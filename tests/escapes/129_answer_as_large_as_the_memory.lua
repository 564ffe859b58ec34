-- expect: 200 header.content-length="6000000"
-- limits: memory_bytes=16777216
-- Python's copies of the answer are made beside the script's memory, and bounded by the size of an answer.
return ("x"):rep(6000000)
