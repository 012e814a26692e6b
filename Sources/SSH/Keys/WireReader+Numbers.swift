extension WireReader {
    /// An *mpint* that is not negative, in its one right form (RFC 4251, 5).
    ///
    /// - Returns: its bytes, most significant first, without zeros before them; more than `maximum` of them mark the reader.
    mutating func mpint(maximum: Int) -> [UInt8] {
        let bytes = string()
        guard let first = bytes.first else { return [] }
        let hasSignByte = first == 0
        if first & 0x80 != 0 || (hasSignByte && (bytes.count < 2 || bytes[1] & 0x80 == 0)) || bytes.count - (hasSignByte ? 1 : 0) > maximum
        {
            fail()
            return []
        }
        return hasSignByte ? Array(bytes[1...]) : bytes
    }
}
