// Lets a torch that was built without CUDA carry tensors whose device is called "cuda": `pretend_gpu.py`, which does
// their arithmetic, loads this before torch. One device, one stream, events that have always happened.

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {

const c10::Device gpu(c10::DeviceType::CUDA, 0);
const c10::Stream stream(c10::Stream::DEFAULT, gpu);

struct Guard final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA> {
    c10::DeviceIndex deviceCount() const noexcept override { return 1; }
    c10::Device getDevice() const override { return gpu; }
    c10::Device exchangeDevice(c10::Device) const override { return gpu; }
    c10::Stream getStream(c10::Device) const noexcept override { return stream; }
    c10::Stream getNewStream(c10::Device, int) const override { return stream; }
    c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream; }
    void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
    void block(void*, const c10::Stream&) const override {}
    bool queryEvent(void*) const override { return true; }
    void destroyEvent(void*, c10::DeviceIndex) const noexcept override {}
};

const c10::impl::DeviceGuardImplRegistrar registrar(c10::DeviceType::CUDA, new Guard());

struct CUDAHooks final : at::CUDAHooksInterface {
    explicit CUDAHooks(at::CUDAHooksArgs) {}
    void init() const override {}
    bool hasCUDA() const override { return true; }
    bool isBuilt() const override { return true; }
    bool isAvailable() const override { return true; }
    bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
    c10::DeviceIndex deviceCount() const override { return 1; }
    c10::DeviceIndex getCurrentDevice() const override { return 0; }
};

}  // namespace

namespace at {

// the name is what torch looks for
REGISTER_CUDA_HOOKS(CUDAHooks)

// torch settles at its own compile time that there is no accelerator; what is loaded first is asked instead
namespace accelerator {
std::optional<c10::DeviceType> getAccelerator(bool) { return c10::DeviceType::CUDA; }
bool isAccelerator(c10::DeviceType type) { return type == c10::DeviceType::CUDA; }
}  // namespace accelerator

}  // namespace at
