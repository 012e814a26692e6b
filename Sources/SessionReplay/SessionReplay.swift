// SessionReplay
