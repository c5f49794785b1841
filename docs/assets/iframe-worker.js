// A site that is opened as files has no web workers, and the search runs in one. There this stands in for it: a hidden
// frame runs the worker's script, and messages go between the frame and the page.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      this.window = this.frame.contentWindow
      addEventListener("message", (event) => {
        if (event.source === this.window) this.dispatchEvent(new MessageEvent("message", { data: event.data }))
      })
      this.window.document.open()
      this.window.document.write(`<script>
        postMessage = (data) => parent.dispatchEvent(new MessageEvent("message", { data, source: window }))
        importScripts = (...urls) => Promise.all(urls.map((url) => new Promise((done, failed) => {
          const script = Object.assign(document.createElement("script"), { src: url, onload: done, onerror: failed })
          document.head.append(script)
        })))
      </script><script src="${url}"></script>`)
      this.window.document.close()
      this.loaded = new Promise((done) => this.window.addEventListener("load", done))
    }

    postMessage(data) {
      this.loaded.then(() => this.window.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.frame.remove()
    }
  }
}
