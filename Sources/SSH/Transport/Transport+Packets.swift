import CLinux

/// The binary packet protocol (RFC 4253, 6).
extension Transport {
    func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { output.append($0) } }

    /// Makes a packet of a message and leaves it, encrypted, in the output.
    func seal(_ payload: [UInt8], _ number: UInt8) throws(SSHError) {
        guard sending.packets < TransportDirection.maximumPackets else {
            throw SSHError(.byApplication, "send packet", "", "too many have been sent with the same keys")
        }
        if let compressor {
            guard let compressed = compressor.compress(payload) else {
                throw SSHError(.compressionError, "compress message", "\(number)", "zlib fails")
            }
            write(compressed)
        } else {
            write(payload)
        }
        if isServer, number == Message.userAuthenticationSuccess { try beginDelayedCompression() }
    }

    private func write(_ payload: [UInt8]) {
        let cipher = sending.cipher
        let block = cipher.blockSize
        // Padding to whole blocks, at least 4 bytes, and at least 16 with the length.
        let apart = cipher.hasLengthApart ? 0 : 4
        var padding = block - (apart + 1 + payload.count) % block
        if padding < 4 { padding += block }
        while 5 + payload.count + padding < 16 { padding += block }
        let size = 5 + payload.count + padding
        let packet = output.reserve(size + cipher.tagSize)
        PacketCipher.store(UInt32(clamping: size - 4), packet)
        packet[4] = UInt8(clamping: padding)
        payload.withUnsafeBytes { bytes in
            if let start = bytes.baseAddress { _ = memcpy(packet + 5, start, bytes.count) }
        }
        pad(packet + 5 + payload.count, padding)
        cipher.seal(packet, size: size, sequence: sending.sequence)
        output.didAppend(size + cipher.tagSize)
        sending.sequence &+= 1
        sending.count(size + cipher.tagSize)
    }

    /// Random padding, from a stock, so that not each packet costs a system call.
    private func pad(_ destination: UnsafeMutablePointer<UInt8>, _ count: Int) {
        if paddingBytes.count - paddingUsed < count {
            paddingBytes = random.bytes(1024)
            paddingUsed = 0
        }
        for index in 0..<count {
            destination[index] = paddingUsed < paddingBytes.count ? paddingBytes[paddingUsed] : 0
            paddingUsed += 1
        }
    }

    /// The message of the next packet, if all of it has been received, with its sequence number.
    func nextPayload() throws(SSHError) -> (payload: [UInt8], sequence: UInt32)? {
        let cipher = receiving.cipher
        let size: Int
        if let packetSize {
            size = packetSize
        } else {
            guard input.count >= cipher.headSize else { return nil }
            let length = cipher.length(input.start, sequence: receiving.sequence)
            let counted = cipher.hasLengthApart ? Int(length) : Int(length) + 4
            guard length <= UInt32(Self.maximumPacket), counted % cipher.blockSize == 0, counted >= (cipher.hasLengthApart ? 8 : 16) else {
                throw SSHError(.protocolError, "read packet", "\(receiving.sequence)", "its length cannot be \(length)")
            }
            size = Int(length) + 4
            packetSize = size
        }
        guard input.count >= size + cipher.tagSize else { return nil }
        guard receiving.packets < TransportDirection.maximumPackets else {
            throw SSHError(.protocolError, "read packet", "\(receiving.sequence)", "too many have been received with the same keys")
        }
        guard cipher.open(input.start, size: size, sequence: receiving.sequence) else {
            throw SSHError(.macError, "read packet", "\(receiving.sequence)", "it was changed on its way, or the keys differ")
        }
        let padding = Int(input.start[4])
        guard padding >= 4, padding + 2 <= size - 4 else {
            throw SSHError(.protocolError, "read packet", "\(receiving.sequence)", "its padding cannot be of \(padding) bytes")
        }
        let content = UnsafeBufferPointer(start: UnsafePointer(input.start + 5), count: size - 5 - padding)
        let payload: [UInt8]
        if let decompressor {
            guard let decompressed = decompressor.decompress(content, maximum: Self.maximumPacket), !decompressed.isEmpty else {
                throw SSHError(
                    .compressionError, "decompress packet", "\(receiving.sequence)",
                    "it is no message in zlib's format of at most \(Self.maximumPacket) bytes")
            }
            payload = decompressed
        } else {
            payload = Array(content)
        }
        input.removeFirst(size + cipher.tagSize)
        packetSize = nil
        let sequence = receiving.sequence
        receiving.sequence &+= 1
        receiving.count(size + cipher.tagSize)
        return (payload, sequence)
    }

    /// The user is authenticated: `zlib@openssh.com` begins in both directions.
    func beginDelayedCompression() throws(SSHError) {
        guard !isAuthenticated else { return }
        isAuthenticated = true
        if compressor == nil { try beginCompression() }
        if decompressor == nil { try beginDecompression() }
    }

    /// A fresh stream, as after each key exchange (RFC 4253, 6.2).
    func beginCompression() throws(SSHError) {
        compressor = nil
        guard sending.isCompressed(isAuthenticated: isAuthenticated) else { return }
        compressor = Compressor()
        if compressor == nil { throw SSHError(.compressionError, "begin compression", "", "there is no memory") }
    }

    func beginDecompression() throws(SSHError) {
        decompressor = nil
        guard receiving.isCompressed(isAuthenticated: isAuthenticated) else { return }
        decompressor = Decompressor()
        if decompressor == nil { throw SSHError(.compressionError, "begin decompression", "", "there is no memory") }
    }
}
