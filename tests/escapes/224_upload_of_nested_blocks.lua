-- expect: syntax-error detail~"overflow"
-- upload: repeat 50000
do while a do 
