// Feeds the decoders of a DHCP client's messages and of the kernel's whatever libFuzzer makes up, and holds them to what they promise. A
// promise broken is a trap, which libFuzzer reports with the input that caused it.
import ContainerSpec
import Linux
import Network

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: start, count: count))
    checkLease(input)
    checkKernel(input)
    return 0
}

private func checkLease(_ input: [UInt8]) {
    let event: LeaseEvent
    do throws(NetworkError) { event = try LeaseMessage.decode(input) } catch {
        precondition(error.description.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F }, "an error that is more than a line")
        return
    }
    guard case .lease(let lease) = event else { return }
    precondition(lease.address.address.isIPv4 && (1...32).contains(lease.address.length), "an address that no machine can have")
    precondition(lease.routes.count <= 64 && lease.nameservers.count <= 16 && lease.searchDomains.count <= 16, "more than is agreed")
    precondition(lease.ignored.count <= 8 && lease.ignored.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } }, "no line")
    precondition(lease.seconds ?? 1 > 0 && lease.mtu ?? 576 >= 576, "numbers out of range")
    precondition(lease.routes.allSatisfy { $0.isIPv4 && $0.destination?.address.isIPv4 ?? true }, "a route of another family")

    // What comes of it is a file of known words, and requests of a bounded size.
    var settings = NetworkSettings()
    settings.interfaces = [InterfaceSettings(id: "eth0", match: .name("eth0"))]
    settings.interfaces[0].usesDHCP = true
    var state = NetworkState(settings)
    state.take(.lease(lease), for: "eth0", now: .max / 2)
    for line in (state.resolverFile ?? "").utf8.split(separator: UInt8(ascii: "\n")) {
        let words = line.split(separator: UInt8(ascii: " ")).map { String(Substring($0)) }
        precondition(
            words.first == "search" || words.first == "nameserver" && words.count == 2 && IPAddress(words[1]) != nil, "a foreign line")
    }
    let work = state.takeWork()
    precondition(work.count == 1 && work[0].addresses == [lease.address], "another address is wanted than was given")
    for route in work[0].routes {
        let bytes = RouteRequest.addRoute(index: 2, route).message(sequence: 1).bytes
        precondition(bytes.count <= 96 && NetlinkMessage.decode(bytes).count == 1, "no message")
    }
    _ = state.expire(.max)
    precondition(state.interfaces[0].lease == nil || state.interfaces[0].leaseEnds == nil, "a lease that ran out is kept")
}

private func checkKernel(_ input: [UInt8]) {
    var size = 0
    for message in NetlinkMessage.decode(input) {
        size += 16 + message.payload.count
        precondition(NetlinkMessage.decode(message.bytes) == [message], "a message is not what it was")
        _ = RouteAnswer(message)
    }
    precondition(size <= input.count, "more was read than there is")
    if let report = InterfaceReport(input) { precondition(InterfaceReport(report.encoded) == report, "a report is not what it was") }
}
