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
