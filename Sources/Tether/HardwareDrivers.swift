import KernelModules
import Linux

/// Loads the drivers of all hardware but the disks, in a worker beside the running container.
final class HardwareDrivers {
    private var worker: Worker?
    private let diagnostics: Diagnostics

    init(_ modules: ModuleLoader, _ diagnostics: Diagnostics) {
        self.diagnostics = diagnostics
        do throws(SyscallError) {
            worker = try Worker.start("load drivers") { output in
                let report = modules.loadForPresentHardware(.all, until: .after(milliseconds: 30_000))
                var fields = FieldEncoder()
                fields.append(report.loaded.joined(separator: ", "))
                for failure in report.failures { fields.append(failure.description) }
                output.send(fields.bytes)
            }
        } catch {
            worker = nil
            diagnostics.warning(error.description)
        }
    }

    /// Ready when ``step()`` has something to do; nil when all is done.
    var descriptor: Int32? { worker?.descriptor }

    /// Takes what there is without blocking.
    func step() {
        guard let result = worker?.step() else { return }
        worker = nil
        for message in result.messages {
            var fields = FieldDecoder(message)
            if let loaded = fields.text(), !loaded.isEmpty { diagnostics.info("loaded modules \(loaded)") }
            while let failure = fields.text() { diagnostics.warning(failure) }
        }
    }
}
