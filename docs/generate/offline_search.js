// Search runs in a worker, which browsers refuse to a page that was opened as a file: a hidden frame does its work.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const inside = frame.contentWindow;
      const script = inside.document.createElement("script");
      this.loaded = new Promise((resolve) => (script.onload = resolve));
      inside.postMessage = (sent) => this.answer(structuredClone(sent));
      this.inside = inside;
      this.terminate = () => frame.remove();
      script.src = url;
      inside.document.body.append(script);
    }

    // What is sent is copied, as it is between a page and a worker: each side changes what it has.
    postMessage(sent) {
      const data = structuredClone(sent);
      this.loaded.then(() => this.inside.onmessage({ data }));
    }

    answer(data) {
      setTimeout(() => this.onmessage?.({ data }));
    }
  };
}
