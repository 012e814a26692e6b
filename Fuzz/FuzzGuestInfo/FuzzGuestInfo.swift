import GuestInfo
import GuestInfoHost

/// Feeds the client from a hostile host. The first byte chooses what the rest is: raw answers to every access, a fault
/// script for the model, or an encoded value.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ data: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: count))
    guard let first = input.first else { return 0 }
    let rest = input[1...]
    switch first % 4 {
    case 0: drive(HostilePort(input: rest), held: first & 4 != 0)
    case 1: driveModel(rest)
    case 2: decode(Array(rest))
    default: unpack(Array(rest))
    }
    return 0
}

/// A port whose every answer is the next bytes of the input; at its end, an answer that ends the exchange.
private struct HostilePort: BackdoorPort {
    var input: ArraySlice<UInt8>
    /// The claims of a host can make the client do this much work and no more.
    var calls = 0

    init(input: ArraySlice<UInt8>) { self.input = input }

    private mutating func next() -> UInt64 {
        var value: UInt64 = 0
        for _ in 0..<4 { value = value << 8 | UInt64(input.popFirst() ?? 0) }
        return value | 0xFFFF_0000_0000_0000
    }

    /// The status comes first; a short code for it makes long exchanges likely.
    private mutating func status() -> UInt64 {
        switch input.popFirst() ?? 0 {
        case 0..<40: 0x0001_0000
        case 40..<80: 0x0003_0000
        case 80..<120: 0x0083_0000
        case 120..<160: 0x0081_0000
        case 160..<200: 0x0010_0000
        case 200..<210: 0
        default: next()
        }
    }

    mutating func lowBandwidth(_ registers: inout BackdoorRegisters) {
        count()
        let step = registers.rcx >> 16
        registers.rcx = status()
        switch step {
        case 3:
            registers.rdx = input.isEmpty ? next() : 0x0001_5658
            // Lengths around the edges of words, and anything.
            registers.rbx = (input.popFirst() ?? 0) < 200 ? UInt64(input.popFirst() ?? 0) % 40 : next()
        case 4:
            registers.rdx = (input.popFirst() ?? 0) < 250 ? 0x0002_5658 : next()
            registers.rbx = next()
        default:
            registers.rbx = next()
            registers.rdx = next()
            registers.rsi = next()
            registers.rdi = next()
        }
    }

    mutating func highBandwidthOut(_ registers: inout BackdoorRegisters, message: UnsafeRawBufferPointer) {
        count()
        registers.rbx = status()
        registers.rcx = next()
        registers.rsi = next()
    }

    mutating func highBandwidthIn(_ registers: inout BackdoorRegisters, buffer: UnsafeMutableRawBufferPointer) {
        count()
        registers.rbx = status()
        registers.rcx = next()
        for index in buffer.indices {
            guard let byte = input.popFirst() else { break }
            buffer[index] = byte
        }
    }

    private mutating func count() {
        calls += 1
        // 3 requests of 4 tries of 10 starts, each of at most 2^18 words and a few more.
        precondition(calls < 3 * 4 * 10 * ((1 << 18) + 100), "the client does not end")
    }
}

private func client<Port: BackdoorPort>(_ port: Port, held: Bool = false) -> GuestInfoClient<Port> {
    var retry = RetryPolicy()
    retry.sleep = { _ in }
    // Shorter replies than the real limit keep an input's run short; the code is the same.
    var limits = ChannelLimits()
    limits.maximumReply = 4096
    return GuestInfoClient(RPCI(port: port, use: held ? .held : .perRequest, retry: retry, limits: limits))
}

private func drive<Port: BackdoorPort>(_ port: Port, held: Bool) {
    let client = client(port, held: held)
    do throws(GuestInfoError) {
        _ = try client.get("guestinfo.x")
        _ = try client.getDecoded("guestinfo.c", limit: 65_536)
        try client.set("guestinfo.o", [1, 2, 3, 4, 5])
    } catch {
        precondition(!error.description.isEmpty)
    }
}

/// The model with faults, options and a reply from the input: whatever it does, no channel may stay open, and what is read
/// is what was stored.
private func driveModel(_ input: ArraySlice<UInt8>) {
    var input = input
    func next() -> Int { Int(input.popFirst() ?? 0) }
    var options = GuestInfoHost.Options()
    let directions = GuestInfoHost.Options.HighBandwidth.allCases
    options.highBandwidth = directions[next() % directions.count]
    let flags = next()
    options.garbage = flags & 1 != 0
    options.cookies = flags & 2 == 0
    let steps = GuestInfoHost.Step.allCases.filter { $0 != .close }
    let effects = GuestInfoHost.Fault.Effect.allCases
    for _ in 0..<next() % 8 {
        options.faults.append(
            GuestInfoHost.Fault(effects[next() % effects.count], at: steps[next() % steps.count], after: next(), times: next() % 50))
    }
    let stored = Array(input)
    if flags & 4 != 0 { options.reply = .bytes(stored) }
    let host = GuestInfoHost(store: GuestInfoStore(["guestinfo.x": stored]), options: options)
    let client = client(ModelPort(host), held: flags & 8 != 0)
    do throws(GuestInfoError) {
        let value = try client.get("guestinfo.x")
        let absent = stored.isEmpty || stored == Array("---".utf8) || stored == Array("<nil>".utf8)
        if flags & 4 == 0 { precondition(value == (absent ? nil : stored)) }
        try client.set("guestinfo.y", stored.filter { $0 != 0 })
        if flags & 4 == 0 { precondition(host.store["guestinfo.y"] == stored.filter { $0 != 0 }) }
    } catch {
        precondition(!error.description.isEmpty)
    }
    client.rpci.close()
    precondition(host.openChannels == 0)
}

/// Any encoding name, any value.
private func decode(_ input: [UInt8]) {
    let names = ["base64", "b64", "gzip+base64", "gz+b64", "", "---"]
    let store = GuestInfoStore(["guestinfo.c": Array(input.dropFirst())])
    let choice = Int(input.first ?? 0)
    store["guestinfo.c.encoding"] = choice < names.count ? Array(names[choice].utf8) : Array(input.prefix(12))
    let client = client(ModelPort(GuestInfoHost(store: store)))
    do throws(GuestInfoError) {
        let value = try client.getDecoded("guestinfo.c", limit: 65_536)
        precondition((value?.count ?? 0) <= 65_536)
    } catch {
        precondition(!error.description.isEmpty)
    }
}

/// Compressed data straight to zlib, past base64.
private func unpack(_ input: [UInt8]) {
    guard let encoded = try? ValueEncoding.base64.encode(input) else { return }
    do throws(GuestInfoError.Cause) {
        let value = try ValueDecoder(name: Array("gz+b64".utf8)).decode(encoded, limit: 65_536)
        precondition(value.count <= 65_536)
    } catch {
        precondition(!error.description.isEmpty)
    }
}
