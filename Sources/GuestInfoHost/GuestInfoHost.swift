// GuestInfoHost
