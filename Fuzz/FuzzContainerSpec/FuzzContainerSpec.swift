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
        if let profile = spec.seccomp {
            expect(profile.rules.reduce(0) { $0 + $1.names.count * $1.alternatives.count } <= SeccompProfile.ruleLimit)
            expect(profile.rules.allSatisfy { !$0.names.isEmpty && $0.comparisons.allSatisfy { $0.index < 6 } })
            expect(profile.flags & ~6 == 0 && (profile.architectures.isEmpty || profile.architectureMap.isEmpty))
        }
    } catch {
        expect(!error.issues.isEmpty && error.issues.count <= SpecError.limit)
        // One line, in logs and in the status object.
        expect(!error.description.isEmpty && !error.description.utf8.contains { $0 < 0x20 })
    }
    expect(KernelArguments(bytes).all.count <= bytes.count)
    return 0
}

/// Ends the run with a report that libFuzzer recognises.
private func expect(_ condition: Bool) {
    precondition(condition)
}
