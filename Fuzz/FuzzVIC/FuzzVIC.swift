// Feeds the reader of VIC's keys whatever libFuzzer makes up, and holds it to what it promises. A promise broken is a trap, which
// libFuzzer reports with the input that caused it.
import ContainerSpec
import VIC

/// Lines of keys and values, behind `guestinfo.vice.`: `/sessions=c1`, `.sessions|c1.runblock=true`.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOne(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    var values: [String: [UInt8]] = [:]
    for line in UnsafeBufferPointer(start: start, count: count).split(separator: UInt8(ascii: "\n")) {
        guard let equals = line.firstIndex(of: UInt8(ascii: "=")) else { continue }
        let key = VICKey.prefix + String(decoding: line[..<equals], as: UTF8.self)
        values[key.lowercased()] = Array(line[(equals + 1)...])
    }
    check(values)
    return 0
}

private func read(_ extent: VICExtent, _ values: [String: [UInt8]]) -> Result<VICReading?, SpecError> {
    var asked = 0
    var result: Result<VICReading?, SpecError>
    do throws(SpecError) {
        result = .success(
            try VICExecutorConfig.read(extent) { (key) throws(VICSourceError) in
                asked += 1
                precondition(key.hasPrefix(VICKey.prefix), "a key that no guest can read")
                return values[key.lowercased()]
            })
    } catch {
        precondition(!error.issues.isEmpty && error.issues.count <= SpecError.limit, "an error without an issue")
        result = .failure(error)
    }
    if case .success(let reading?) = result {
        precondition(reading.fetched == asked, "the number of keys is wrong")
    }
    return result
}

private func check(_ values: [String: [UInt8]]) {
    guard case .success(let all?) = read(.all, values) else {
        _ = read(.needed, values)
        return
    }
    // What the guest needs is part of the whole, and so cannot be worse.
    guard case .success(let needed?) = read(.needed, values) else { preconditionFailure("the part is refused, the whole is not") }
    do throws(SpecError) {
        let plan = try needed.config.plan()
        precondition(!plan.spec.process.args.isEmpty && plan.spec.process.cwd.hasPrefix("/"), "a plan for no process")
        precondition(!plan.files.all.contains { $0.content.utf8.contains(0) }, "a file that no text is")
        precondition(plan.notHonoured.count <= 16, "words without a bound")
        checkNetworks(plan)
    } catch {}
    // What was understood can be written again, but for what the keys cannot express, and means the same.
    let keys: [VICKeyValue]
    do throws(SpecError) { keys = try all.config.keyValues() } catch { return }
    var written: [String: [UInt8]] = [:]
    for pair in keys {
        precondition(written.updateValue(Array(pair.value.utf8), forKey: pair.key.lowercased()) == nil, "a key is written twice")
    }
    guard case .success(let again?) = read(.all, written) else { preconditionFailure("what was written is not understood") }
    precondition(again.config == all.config, "writing what was read changes it")
}

private func checkNetworks(_ plan: VICPlan) {
    let interfaces = plan.spec.tether.network?.interfaces ?? []
    precondition(interfaces.count <= NetworkSettings.interfaceLimit, "adapters without a bound")
    for (index, interface) in interfaces.enumerated() {
        precondition(!interfaces[..<index].contains { $0.match == interface.match || $0.id == interface.id }, "an adapter is there twice")
        precondition(interface.addresses.count <= InterfaceSettings.addressLimit && interface.routes.count <= InterfaceSettings.routeLimit)
        precondition(interface.routes.allSatisfy { $0.destination.map { $0 == $0.network } ?? ($0.gateway != nil) }, "no route")
    }
    let routes = interfaces.flatMap { $0.routes }.map {
        [$0.destination?.text ?? "", "\($0.gateway?.isIPv4 ?? true)", "\($0.metric ?? 0)"]
    }
    precondition(Set(routes).count == routes.count, "two routes that are the same to the kernel")
    let leases = interfaces.filter(\.usesDHCP).compactMap { interface in
        IPPrefix("10.0.0.5/24").map {
            VICLease(interface: interface.id, address: $0, gateway: IPAddress("10.0.0.1"), nameservers: [], searchDomains: ["a b", "c"])
        }
    }
    let files = plan.files.with(leases)
    precondition(files.with([]) == plan.files, "a lease that is over leaves something behind")
    precondition(!files.all.contains { $0.content.utf8.contains(0) } && !files.resolver.contains("a b"), "a file that no text is")
    for endpoint in plan.endpoints {
        precondition(interfaces.contains { $0.id == endpoint.interface }, "a network without its adapter")
        let assignment = endpoint.assignment(leases)
        precondition((assignment == nil) == (endpoint.addressing == .external), "a network without an address")
        var values: [String: [UInt8]] = [
            VICKey.containerID.name: Array("c".utf8), VICKey.prefix + "/networks": Array(endpoint.network.utf8),
        ]
        for pair in endpoint.keyValues(assignment) { values[pair.key.lowercased()] = Array(pair.value.utf8) }
        guard case .success(let reading?) = read(.all, values), let told = reading.config.networks.first else {
            preconditionFailure("what is told is not understood")
        }
        precondition(told.assigned.ip.bytes == assignment?.address.address.bytes ?? [], "another address is told")
        precondition(
            told.network.assignedNameservers.map(\.bytes) == (assignment?.nameservers ?? []).map(\.bytes), "other name servers are told")
    }
}
