-- expect: syntax-error detail~"too many labels/gotos"
-- upload: repeat 60000
goto a 
