// KernelModules
