print("guestinfo-bed")
