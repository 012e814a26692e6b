import ContainerSpec

/// Whatever the bytes are, decoding ends in a specification or an error with at least one issue, never in a trap.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = Array(UnsafeBufferPointer(start: start, count: start == nil ? 0 : count))
    do throws(SpecError) {
        let spec = try ContainerSpec.decode(bytes)
        expect(!spec.process.args.isEmpty && spec.process.args.allSatisfy { !$0.utf8.contains(0) })
        expect(spec.process.cwd.utf8.first == UInt8(ascii: "/"))
        expect(spec.process.resourceLimits.allSatisfy { $0.soft <= $0.hard })
        expect(spec.process.capabilities.effective & ~spec.process.capabilities.permitted == 0)
        expect(spec.mounts.allSatisfy { $0.destination.utf8.first == UInt8(ascii: "/") && ($0.isBind || $0.type != nil) })
        check(spec)
        if let profile = spec.seccomp {
            expect(profile.rules.reduce(0) { $0 + $1.names.count * $1.alternatives.count } <= SeccompProfile.ruleLimit)
            expect(profile.rules.allSatisfy { !$0.names.isEmpty && $0.comparisons.allSatisfy { $0.index < 6 } })
            expect(profile.flags & ~6 == 0 && (profile.architectures.isEmpty || profile.architectureMap.isEmpty))
        }
    } catch {
        check(error)
    }
    // The same bytes as a process object alone.
    do throws(SpecError) {
        let process = try ContainerProcess.decode(bytes, in: container)
        expect(process.args.first?.isEmpty == false && (process.terminal || process.consoleSize == nil))
        check(process)
    } catch {
        check(error)
    }
    expect(KernelArguments(bytes).all.count <= bytes.count)
    return 0
}

private let container = ContainerSpec(args: ["init"])

private func check(_ error: SpecError) {
    expect(!error.issues.isEmpty && error.issues.count <= SpecError.limit)
    // One line, in logs and in the status object.
    expect(!error.description.isEmpty && !error.description.utf8.contains { $0 < 0x20 })
}

/// What whoever acts on a specification relies on.
private func check(_ spec: ContainerSpec) {
    check(spec.process)
    expect(spec.namespaces.user != spec.uidMappings.isEmpty && spec.namespaces.user != spec.gidMappings.isEmpty)
    expect(spec.namespaces.time || spec.timeOffsets == TimeOffsets())
    for setting in spec.sysctl {
        let parts = ContainerSpec.sysctlPath(setting.key).utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        expect(parts.count > 1 && parts.allSatisfy { !$0.isEmpty && !$0.elementsEqual("..".utf8) } && !setting.value.utf8.contains(0))
    }
    expect(spec.devices.allSatisfy { $0.path.utf8.first == UInt8(ascii: "/") && ($0.mode ?? 0) <= 0o7777 && $0.major <= 4095 })
    expect(spec.resources.unified.allSatisfy { !$0.key.utf8.contains(UInt8(ascii: "/")) && !$0.value.isEmpty })
    expect(spec.resources.cpu.cpus.map { CPUList($0) != nil } ?? true)
    for hook in [spec.hooks.prestart, spec.hooks.createContainer, spec.hooks.startContainer, spec.hooks.poststop].joined() {
        expect(hook.path.utf8.first == UInt8(ascii: "/") && !hook.args.isEmpty && hook.timeoutSeconds > 0)
    }
    if let check = spec.tether.healthCheck {
        expect(check.test.arguments.first?.isEmpty == false && check.interval >= 1_000_000 && check.timeout >= 1_000_000)
    }
    if let network = spec.tether.network { check(network) }
    expect((4...16_384).contains(spec.tether.sessions.ringKiB) && (1...256).contains(spec.tether.sessions.maxSessions))
}

/// What whoever sets adapters up relies on.
private func check(_ network: NetworkSettings) {
    expect((1...NetworkSettings.interfaceLimit).contains(network.interfaces.count))
    for (index, interface) in network.interfaces.enumerated() {
        expect(!network.interfaces[..<index].contains { $0.match == interface.match })
        expect(interface.name.map { interfaceNameProblem($0) == nil } ?? true)
        if case .name(let name) = interface.match { expect(interfaceNameProblem(name) == nil) }
        expect(Set(interface.addresses.map(\.address)).count == interface.addresses.count)
        expect(interface.addresses.count <= InterfaceSettings.addressLimit && interface.routes.count <= InterfaceSettings.routeLimit + 2)
        expect(interface.nameservers.count <= InterfaceSettings.nameserverLimit)
        expect(interface.mtu.map { (68...65535).contains($0) } ?? true)
        for route in interface.routes {
            expect(route.destination.map { $0 == $0.network && $0.length > 0 } ?? (route.gateway != nil))
            if let gateway = route.gateway, let destination = route.destination {
                expect(gateway.isIPv4 == destination.address.isIPv4)
            }
        }
        // One word each in /etc/resolv.conf.
        expect(interface.searchDomains.allSatisfy { isPlainName($0, limit: 253) })
    }
}

private func check(_ process: ContainerProcess) {
    expect(process.user.username == nil || process.user.uid == 0)
    if let list = process.execCPUAffinity?.final { expect(CPUList(list.description) == list) }
    if let scheduler = process.scheduler {
        let isRealTime = scheduler.policy == .fifo || scheduler.policy == .roundRobin
        expect(isRealTime == (scheduler.priority > 0) && (scheduler.policy == .deadline) == (scheduler.deadline > 0))
    }
}

/// Ends the run with a report that libFuzzer recognises.
private func expect(_ condition: Bool) {
    precondition(condition)
}
