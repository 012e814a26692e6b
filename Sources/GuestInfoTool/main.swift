import CLinux

exit(runGuestInfoTool())
