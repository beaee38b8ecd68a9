J(£û¼AœÍõÀAºÂÆG]ÂmMBÞúlÂ‚C›A
SBRB‡žB