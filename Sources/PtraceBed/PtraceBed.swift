// PtraceBed
