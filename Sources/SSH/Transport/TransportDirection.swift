/// What a transport knows of one direction.
struct TransportDirection {
    var cipher = PacketCipher()
    /// Of the next packet (RFC 4253, 6.4): it goes around at 2³² and begins anew with new keys only in strict key exchange.
    var sequence: UInt32 = 0
    /// Packets and bytes with the keys that are in use.
    var packets: UInt64 = 0
    var bytes: UInt64 = 0
    /// The method that was agreed on; in use where there is a stream.
    var compression = "none"

    /// Before so many packets the keys are replaced (RFC 4344, 3.1), and at so many at the latest the connection ends.
    static let rekeyPackets: UInt64 = 1 << 31
    static let maximumPackets: UInt64 = (1 << 32) - 1

    mutating func count(_ size: Int) {
        packets += 1
        bytes &+= UInt64(clamping: size)
    }

    mutating func replaceKeys(_ cipher: PacketCipher, compression: String, isStrict: Bool) {
        self.cipher = cipher
        self.compression = compression
        packets = 0
        bytes = 0
        if isStrict { sequence = 0 }
    }

    /// - Parameter isAuthenticated: the user is, so that delayed compression has begun.
    func isCompressed(isAuthenticated: Bool) -> Bool { compression == "zlib@openssh.com" && isAuthenticated }
}
