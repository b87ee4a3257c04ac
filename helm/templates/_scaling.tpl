{{/* Of what scales the pods, what can't work: a line each. */}}
{{- define "signalbox.impossibleScaling" -}}
{{- with .Values.autoscaling }}
{{- if and .enabled (not (or .targetCPUUtilizationPercentage .targetInFlightRequests .targetOpenStreams)) }}
- autoscaling.targetCPUUtilizationPercentage, targetInFlightRequests or targetOpenStreams: without one autoscaling.enabled has nothing to scale by
{{- end }}
{{- end }}
{{- with .Values.keda }}
{{- $asksPrometheus := or .targetInFlightRequests .targetOpenStreams }}
{{- if and .enabled (not (or $asksPrometheus .targetCPUUtilizationPercentage .triggers)) }}
- keda.targetInFlightRequests, targetOpenStreams, targetCPUUtilizationPercentage or triggers: without one keda.enabled has nothing to scale by
{{- end }}
{{- if and .enabled (eq (int .minReplicas) 0) (not .triggers) }}
- keda.minReplicas is 0: no pod measures anything then, so nothing would bring one back but one of keda.triggers
{{- end }}
{{- if and .enabled $asksPrometheus (not .prometheusAddress) }}
- keda.prometheusAddress: without it keda.enabled has no Prometheus to ask, such as http://prometheus.monitoring:9090
{{- end }}
{{- end }}
{{- $byCPU := or (and .Values.autoscaling.enabled .Values.autoscaling.targetCPUUtilizationPercentage) (and .Values.keda.enabled .Values.keda.targetCPUUtilizationPercentage) }}
{{- if and $byCPU (not ((.Values.resources).requests).cpu) }}
- resources.requests.cpu: without it targetCPUUtilizationPercentage is a share of nothing
{{- end }}
{{- end -}}

{{/*
A trigger of KEDA: (dict "context" $ "metric" … "target" …). No data is a failure, for which there is the fallback, and not zero, by which pods
would go: `ignoreNullValues`.
*/}}
{{- define "signalbox.keda.trigger" -}}
- type: prometheus
  metricType: AverageValue
  metadata:
    serverAddress: {{ .context.Values.keda.prometheusAddress | quote }}
    query: sum({{ .metric }}{namespace={{ .context.Release.Namespace | quote }}, job={{ include "signalbox.fullname" .context | quote }}})
    threshold: {{ .target | toString | quote }}
    ignoreNullValues: "false"
{{- end -}}
